-- Rows left out, by day and reason; a row without a time is counted on the last day.
SELECT
    coalesce(acted_at::DATE, $last_day) AS day,
    reason,
    count(*) AS n_rows
FROM labelled_actions
WHERE reason IS NOT NULL
GROUP BY day, reason
ORDER BY day, reason
