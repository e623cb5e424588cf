-- Raw rows of the days [$start, $end) with the reason why a row cannot be used, if there is one.
-- A row without a time belongs to no day: it is counted in whatever day reads its file.
-- Repeats are found within a day, so that a day is the same staged alone or with others; those
-- of other days are left out by user_actions/labelled.
WITH
ranged AS (
    SELECT
        event_id,
        user_id,
        pin_id,
        action,
        acted_at,
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
),

named AS (
    SELECT
        user_id,
        pin_id,
        action,
        acted_at,
        reason,
        coalesce(
            event_id::VARCHAR,
            md5(
                strlen(user_id::VARCHAR) || ':' || user_id::VARCHAR
                || strlen(pin_id::VARCHAR) || ':' || pin_id::VARCHAR
                || strlen(action) || ':' || action || epoch_us(acted_at)
            )
        ) AS event_id
    FROM ranged
),

numbered AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY reason IS NULL, acted_at::DATE, user_id, event_id
            ORDER BY acted_at, pin_id, action
        ) AS occurrence
    FROM named
)

SELECT
    event_id,
    user_id,
    pin_id,
    action,
    acted_at,
    CASE WHEN reason IS NULL AND occurrence > 1 THEN 'duplicate' ELSE reason END AS reason
FROM numbered
