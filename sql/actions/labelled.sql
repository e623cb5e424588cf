-- Raw rows of the days, each with the reason it is left out, if any.
SELECT
    read_actions.event_id,
    read_actions.user_id,
    read_actions.pin_id,
    read_actions.action,
    read_actions.acted_at,
    read_actions.acted_on,
    read_actions.user_hash,
    CASE
        WHEN repeats.action_row IS NULL THEN read_actions.reason
        ELSE 'duplicate'
    END AS reason
FROM read_actions
LEFT JOIN repeats ON read_actions.rowid = repeats.action_row
