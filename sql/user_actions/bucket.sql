-- One bucket's staged actions, read once: each with its date and the row of its pin's embedding.
SELECT
    actions.user_id,
    actions.pin_id,
    actions.acted_at,
    actions.event_id,
    actions.day,
    CASE
        WHEN isfinite(actions.acted_at) THEN make_timestamp(epoch_us(actions.acted_at))::DATE
        ELSE actions.acted_at::DATE
    END AS acted_on,
    actions.acted_at >= $start AND actions.acted_at < $end AS in_window,
    coalesce(list_contains($interest_actions, actions.action), FALSE) AS is_interest,
    pin_rows.row AS pin_row
FROM actions
LEFT JOIN pin_rows ON actions.pin_id = pin_rows.pin_id
