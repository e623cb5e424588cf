-- How often the pins of each medoid were shown to its user in [$start, $end), and how often they
-- were engaged with. An event counts once, as it was last; pins that no medoid brought do not.
WITH events AS (
    SELECT
        user_id,
        medoid,
        action
    FROM feedback
    WHERE acted_at >= $start AND acted_at < $end
    QUALIFY
        row_number() OVER (
            PARTITION BY user_id, event_id
            ORDER BY acted_at DESC, pin_id ASC, action ASC, release ASC, draw ASC, medoid ASC
        ) = 1
)

SELECT
    user_id,
    medoid,
    count(*) FILTER (WHERE action = $impression) AS n_impressions,
    count(*) FILTER (WHERE list_contains($interest_actions, action)) AS n_engagements
FROM events
WHERE medoid IS NOT NULL
GROUP BY user_id, medoid
ORDER BY user_id, medoid
