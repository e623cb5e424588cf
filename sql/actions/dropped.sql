-- Rows left out, by day and reason; the day of a row without a time is null.
SELECT
    acted_on AS day,
    reason,
    count(*) AS n_rows
FROM labelled_actions
WHERE reason IS NOT NULL
GROUP BY day, reason
ORDER BY day, reason
