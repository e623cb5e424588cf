-- One bucket's actions in the window [$start, $end), each with the reason it is left out, if any.
-- The daily cap counts what is left, so that pins without an embedding push nothing out.
WITH
windowed AS (
    SELECT
        user_id,
        pin_id,
        action,
        acted_at,
        event_id
    FROM actions
    WHERE acted_at >= $start AND acted_at < $end
),

numbered AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY user_id, event_id ORDER BY acted_at, pin_id) AS occurrence
    FROM windowed
),

joined AS (
    SELECT
        numbered.user_id,
        numbered.pin_id,
        numbered.acted_at,
        numbered.event_id,
        pin_rows.row AS pin_row,
        CASE
            WHEN NOT list_contains($interest_actions, numbered.action) THEN 'not_an_interest'
            WHEN numbered.occurrence > 1 THEN 'duplicate'
            WHEN pin_rows.row IS NULL THEN 'unknown_pin'
        END AS reason
    FROM numbered
    LEFT JOIN pin_rows ON numbered.pin_id = pin_rows.pin_id
),

counted AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY user_id, acted_at::DATE, reason IS NULL
            ORDER BY acted_at DESC, pin_id DESC, event_id DESC
        ) AS newest
    FROM joined
)

SELECT
    user_id,
    pin_id,
    acted_at,
    event_id,
    pin_row,
    CASE
        WHEN reason IS NULL AND newest > $max_actions_per_day THEN 'over_the_daily_cap'
        ELSE reason
    END AS reason
FROM counted
