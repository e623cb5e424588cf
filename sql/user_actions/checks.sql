-- fail: an action in the file of another day
SELECT user_id, pin_id, acted_at, day
FROM actions
WHERE acted_at::DATE != day;

-- fail: an action of a user of another bucket
SELECT user_id, pin_id, acted_at
FROM actions
WHERE md5_number_lower(user_id::VARCHAR) % $n_buckets != $bucket;

-- warn: an interest in a pin that has no embedding
SELECT user_id, pin_id, acted_at
FROM labelled_user_actions
WHERE reason = 'unknown_pin';

-- warn: a user over the daily cap
SELECT user_id, acted_at::DATE AS day, count(*) AS n_actions_left_out
FROM labelled_user_actions
WHERE reason = 'over_the_daily_cap'
GROUP BY user_id, acted_at::DATE;
