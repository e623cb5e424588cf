-- Usable rows of an event that was there already, on the same day.
-- Hardly any event repeats, so rows are numbered only where a count says that it is needed; a
-- copy of the rows (what DuckDB makes of a CTE that is read twice) would cost more than both.
-- Repeats are found within a day, so that a day is the same staged alone or with others; those
-- of other days are left out by user_actions/left_out.
WITH
usable AS NOT MATERIALIZED (
    SELECT
        *,
        rowid AS action_row
    FROM read_actions
    WHERE reason IS NULL
),

repeated AS (
    SELECT
        acted_on,
        user_id,
        event_id
    FROM usable
    GROUP BY acted_on, user_id, event_id
    HAVING count(*) > 1
),

numbered AS (
    SELECT
        usable.action_row,
        usable.event_id,
        usable.acted_at,
        row_number() OVER (
            PARTITION BY usable.acted_on, usable.user_id, usable.event_id
            ORDER BY usable.acted_at, usable.pin_id, usable.action
        ) AS occurrence
    FROM usable
    SEMI JOIN repeated
        ON
            usable.acted_on = repeated.acted_on
            AND usable.user_id = repeated.user_id
            AND usable.event_id = repeated.event_id
)

SELECT
    action_row,
    event_id,
    acted_at
FROM numbered
WHERE occurrence > 1
