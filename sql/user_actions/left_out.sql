-- Actions that others push out: repeats of an event, and those over the daily cap.
-- Hardly any user has one. So users' rows are numbered only where a count says that it is needed.
-- The daily cap counts what is left, so that pins without an embedding push nothing out.
WITH
windowed AS (
    SELECT
        *,
        rowid AS action_row
    FROM bucket_actions
    WHERE in_window
),

repeated AS (
    SELECT
        user_id,
        event_id
    FROM windowed
    GROUP BY user_id, event_id
    HAVING count(*) > 1
),

repeats AS (
    SELECT
        windowed.action_row,
        windowed.is_interest,
        row_number() OVER (
            PARTITION BY windowed.user_id, windowed.event_id
            ORDER BY windowed.acted_at, windowed.pin_id
        ) AS occurrence
    FROM windowed
    SEMI JOIN repeated
        ON windowed.user_id = repeated.user_id AND windowed.event_id = repeated.event_id
),

duplicates AS (
    SELECT action_row
    FROM repeats
    WHERE is_interest AND occurrence > 1
),

usable AS (
    SELECT windowed.*
    FROM windowed
    ANTI JOIN duplicates ON windowed.action_row = duplicates.action_row
    WHERE windowed.is_interest AND windowed.pin_row IS NOT NULL
),

busy AS (
    SELECT
        user_id,
        acted_on
    FROM usable
    GROUP BY user_id, acted_on
    HAVING count(*) > $max_actions_per_day
),

counted AS (
    SELECT
        usable.action_row,
        row_number() OVER (
            PARTITION BY usable.user_id, usable.acted_on
            ORDER BY usable.acted_at DESC, usable.pin_id DESC, usable.event_id DESC
        ) AS newest
    FROM usable
    SEMI JOIN busy ON usable.user_id = busy.user_id AND usable.acted_on = busy.acted_on
)

SELECT
    action_row,
    'duplicate' AS reason
FROM duplicates
UNION ALL
SELECT
    action_row,
    'over_the_daily_cap' AS reason
FROM counted
WHERE newest > $max_actions_per_day
