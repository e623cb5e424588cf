-- Each day's users and hash of rows; the SQL of queries.values_hash takes the literal's place.
SELECT
    acted_on AS day,
    count(*) AS n_rows,
    count(DISTINCT user_id) AS n_users,
    'values_hash' AS total
FROM labelled_actions
WHERE reason IS NULL
GROUP BY day
ORDER BY day
