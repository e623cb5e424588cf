-- Kinds of action, the most frequent first.
SELECT
    action,
    count(*) AS n_actions
FROM raw_actions
WHERE action IS NOT NULL
GROUP BY action
ORDER BY n_actions DESC, action ASC
