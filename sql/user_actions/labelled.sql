-- One bucket's actions in the window, each with the reason it is left out, if any.
SELECT
    bucket_actions.user_id,
    bucket_actions.pin_id,
    bucket_actions.acted_at,
    bucket_actions.acted_on,
    bucket_actions.event_id,
    bucket_actions.pin_row,
    CASE
        WHEN NOT bucket_actions.is_interest THEN 'not_an_interest'
        WHEN left_out.reason = 'duplicate' THEN 'duplicate'
        WHEN bucket_actions.pin_row IS NULL THEN 'unknown_pin'
        ELSE left_out.reason
    END AS reason
FROM bucket_actions
LEFT JOIN left_out ON bucket_actions.rowid = left_out.action_row
WHERE bucket_actions.in_window
