-- One bucket's staged actions, read once: each with its date and the row of its pin's embedding.
SELECT
    actions.user_id,
    actions.pin_id,
    actions.acted_at,
    actions.event_id,
    actions.day,
    make_timestamp(epoch_us(actions.acted_at))::DATE AS acted_on,
    actions.acted_at >= $start AND actions.acted_at < $end AS in_window,
    list_contains($interest_actions, actions.action) AS is_interest,
    pin_rows.row AS pin_row
FROM actions
LEFT JOIN pin_rows ON actions.pin_id = pin_rows.pin_id
