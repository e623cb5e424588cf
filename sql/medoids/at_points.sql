-- Each point with its user's medoids in the release that was live, less those blocked then; or why
-- it has none.
WITH owned AS (
    SELECT
        located_points.point_row,
        medoids.rank,
        medoids.pin_id,
        medoids.importance,
        medoids.n_actions,
        medoids.last_acted_at,
        medoids.pin_id::VARCHAR IN (
            SELECT blocked.pin
            FROM blocked
            WHERE
                blocked.since <= located_points.asked_at
                AND (blocked.until IS NULL OR located_points.asked_at < blocked.until)
        ) AS is_blocked
    FROM located_points
    INNER JOIN medoid_files
        ON
            located_points.keyvalue = medoid_files.keyvalue
            AND located_points.bucket = medoid_files.bucket
    INNER JOIN medoids
        ON
            medoid_files.filename = medoids.filename
            AND located_points.user_id::VARCHAR = medoids.user_id::VARCHAR
    WHERE located_points.reason IS NULL
),

gathered AS (
    SELECT
        point_row,
        list(pin_id ORDER BY rank) FILTER (NOT is_blocked) AS medoid_ids,
        list(importance ORDER BY rank) FILTER (NOT is_blocked) AS importance,
        list(n_actions ORDER BY rank) FILTER (NOT is_blocked) AS n_actions,
        list(last_acted_at ORDER BY rank) FILTER (NOT is_blocked) AS last_acted_at
    FROM owned
    GROUP BY point_row
)

SELECT
    located_points.point_row,
    gathered.medoid_ids,
    gathered.importance,
    gathered.n_actions,
    gathered.last_acted_at,
    located_points.release,
    located_points.medoids_day,
    located_points.embeddings,
    located_points.age_days,
    CASE
        WHEN located_points.reason IS NOT NULL THEN located_points.reason
        WHEN deleted.keyvalue IS NOT NULL THEN 'deleted'
        WHEN gathered.point_row IS NULL THEN 'unknown_user'
        WHEN gathered.medoid_ids IS NULL THEN 'blocked'
    END AS reason
FROM located_points
LEFT JOIN gathered ON located_points.point_row = gathered.point_row
LEFT JOIN deleted
    ON located_points.keyvalue = deleted.keyvalue AND located_points.bucket = deleted.bucket
ORDER BY located_points.point_row
