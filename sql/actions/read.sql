-- Raw rows of the days [$start, $end), read once, with the reason why a row cannot be used, if any.
-- A row without a time belongs to no day: it is counted in whatever day reads its file.
-- A row stands for its event where events have no id.
SELECT
    user_id,
    pin_id,
    action,
    acted_at,
    coalesce(
        event_id::VARCHAR,
        md5(
            strlen(user_id::VARCHAR) || ':' || user_id::VARCHAR
            || strlen(pin_id::VARCHAR) || ':' || pin_id::VARCHAR
            || strlen(action) || ':' || action || epoch_us(acted_at)
        )
    ) AS event_id,
    CASE
        WHEN isfinite(acted_at) THEN make_timestamp(epoch_us(acted_at))::DATE
        ELSE acted_at::DATE
    END AS acted_on,
    (md5_number(user_id::VARCHAR) >> 64)::UBIGINT AS user_hash,
    CASE
        WHEN acted_at IS NULL THEN 'no_time'
        WHEN user_id IS NULL OR user_id::VARCHAR = '' THEN 'no_user'
        WHEN pin_id IS NULL OR pin_id::VARCHAR = '' THEN 'no_pin'
        WHEN action IS NULL THEN 'no_action'
        WHEN strlen(user_id::VARCHAR) > 511 THEN 'user_id_too_long'
        WHEN $by_day AND acted_at < $start THEN 'before_the_day'
        WHEN $by_day AND acted_at >= $end THEN 'after_the_day'
    END AS reason
FROM raw_actions
WHERE $by_day OR acted_at IS NULL OR (acted_at >= $start AND acted_at < $end)
