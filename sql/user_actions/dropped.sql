-- Rows of the window by the reason they are left out; the others as 'kept'.
SELECT
    coalesce(reason, 'kept') AS reason,
    count(*) AS n_rows
FROM labelled_user_actions
GROUP BY ALL
ORDER BY reason
