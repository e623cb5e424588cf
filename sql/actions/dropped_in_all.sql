-- Rows left out, by reason.
SELECT
    reason,
    count(*) AS n_rows
FROM labelled_actions
WHERE reason IS NOT NULL
GROUP BY reason
ORDER BY reason
