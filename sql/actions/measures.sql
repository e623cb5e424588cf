-- Each day's rows, users and the hash of its rows' values (queries.values_hash stands in its place).
SELECT
    acted_at::DATE AS day,
    count(*) AS n_rows,
    count(DISTINCT user_id) AS n_users,
    'values_hash' AS total
FROM labelled_actions
WHERE reason IS NULL
GROUP BY day
ORDER BY day
