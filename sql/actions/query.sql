-- Usable actions, each day's apart, bucket by bucket, in a total order.
SELECT
    event_id,
    user_id,
    pin_id,
    action,
    acted_at,
    acted_on AS day,
    (user_hash % $n_buckets)::INTEGER AS bucket
FROM labelled_actions
WHERE reason IS NULL
ORDER BY day, bucket, user_id, acted_at, pin_id, event_id
