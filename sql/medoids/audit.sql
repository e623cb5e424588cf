-- One bucket's medoids beside the facts that each must agree with.
-- The user's own actions are read anew from the staged events, not from what cluster wrote.
WITH own AS (
    SELECT DISTINCT
        user_id,
        pin_id
    FROM labelled_user_actions
    WHERE reason IS NULL
)

SELECT
    medoids.user_id,
    medoids.rank,
    medoids.pin_id,
    medoids.importance,
    medoids.n_actions,
    medoids.offset,
    medoids.cohesion,
    medoids.first_acted_at,
    medoids.last_acted_at,
    own.pin_id IS NOT NULL AS is_own_pin,
    medoids.rank = row_number() OVER by_rank - 1 AS rank_follows,
    coalesce(medoids.importance <= lag(medoids.importance) OVER by_rank, TRUE) AS descends,
    medoids.importance <= medoids.n_actions * (1 + 1e-9) AS importance_is_possible,
    medoids.first_acted_at >= $start
    AND medoids.last_acted_at < $end
    AND medoids.first_acted_at <= medoids.last_acted_at AS in_window
FROM medoids
LEFT JOIN own ON medoids.user_id = own.user_id AND medoids.pin_id = own.pin_id
WINDOW by_rank AS (PARTITION BY medoids.user_id ORDER BY medoids.rank)
ORDER BY medoids.user_id, medoids.rank
