-- fail: an action without a user, a pin, an event or a time
SELECT user_id, pin_id, event_id, acted_at, day
FROM bucket_actions
WHERE user_id IS NULL OR pin_id IS NULL OR event_id IS NULL OR acted_at IS NULL;

-- fail: an action in the file of another day
SELECT user_id, pin_id, acted_at, day
FROM bucket_actions
WHERE acted_on != day;

-- fail: an action of a user of another bucket
WITH strangers AS (
    SELECT user_id
    FROM bucket_actions
    GROUP BY user_id
    HAVING (md5_number(any_value(user_id)::VARCHAR) >> 64)::UBIGINT % $n_buckets != $bucket
)

SELECT bucket_actions.user_id, bucket_actions.pin_id, bucket_actions.acted_at
FROM bucket_actions
SEMI JOIN strangers ON bucket_actions.user_id = strangers.user_id;

-- warn: an interest in a pin that has no embedding
SELECT user_id, pin_id, acted_at
FROM labelled_user_actions
WHERE reason = 'unknown_pin';

-- warn: a user over the daily cap
SELECT user_id, acted_on AS day, count(*) AS n_actions_left_out
FROM labelled_user_actions
WHERE reason = 'over_the_daily_cap'
GROUP BY user_id, acted_on;
