-- Each point with the release that was live at its time, in the order in which medoids are read;
-- or why it has none.
WITH located AS (
    SELECT
        points.point_row,
        points.user_id,
        points.asked_at,
        lives.release,
        lives.medoids_day,
        lives.keyvalue,
        lives.embeddings,
        epoch_us(points.asked_at) - epoch_us(lives.day_end) AS age_us,
        CASE
            WHEN points.user_id IS NULL THEN 'no_user'
            WHEN points.asked_at IS NULL THEN 'no_time'
            WHEN points.asked_at > $now THEN 'future'
            WHEN
                sha256($salt || points.user_id::VARCHAR) IN (SELECT unnest($erased))
                THEN 'unknown_user'
            WHEN lives.live_from IS NULL THEN 'no_release'
            WHEN points.asked_at >= lives.live_until THEN 'unsure'
        END AS reason
    FROM points
    ASOF LEFT JOIN lives ON points.asked_at >= lives.live_from
)

SELECT
    point_row,
    user_id,
    asked_at,
    CASE WHEN reason IS NULL THEN release END AS release,
    CASE WHEN reason IS NULL THEN medoids_day END AS medoids_day,
    CASE WHEN reason IS NULL THEN keyvalue END AS keyvalue,
    CASE WHEN reason IS NULL THEN embeddings END AS embeddings,
    CASE WHEN reason IS NULL THEN age_us / 86400000000.0::DOUBLE END AS age_days,
    ((md5_number(user_id::VARCHAR) >> 64)::UBIGINT % $n_buckets)::BIGINT AS bucket,
    CASE WHEN reason IS NULL AND age_us > $max_age_us THEN 'too_old' ELSE reason END AS reason
FROM located
ORDER BY bucket, keyvalue, user_id, point_row
