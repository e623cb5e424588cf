-- Every user whom an experiment showed something in [$start, $end): their arm, how often, and how
-- many interest actions they did from the first time on. A row that was written twice counts once.
WITH shown AS (
    SELECT DISTINCT
        user_id,
        arm,
        share,
        shown_at,
        release,
        draw
    FROM exposures
    WHERE experiment = $experiment AND shown_at >= $start AND shown_at < $end
),

exposed AS (
    SELECT
        user_id,
        min(arm) AS arm,
        min(share) AS share,
        greatest(count(DISTINCT arm), count(DISTINCT share)) AS n_arms,
        count(*) AS n_exposures,
        min(shown_at) AS first_shown_at
    FROM shown
    GROUP BY user_id
),

acted AS (
    SELECT
        actions.user_id,
        count(*) AS n_actions
    FROM actions
    INNER JOIN exposed ON actions.user_id = exposed.user_id
    WHERE
        list_contains($interest_actions, actions.action)
        AND actions.acted_at >= exposed.first_shown_at
        AND actions.acted_at < $end
    GROUP BY actions.user_id
)

SELECT
    exposed.user_id,
    exposed.arm,
    exposed.share,
    exposed.n_arms,
    exposed.n_exposures,
    coalesce(acted.n_actions, 0) AS n_actions
FROM exposed
LEFT JOIN acted ON exposed.user_id = acted.user_id
ORDER BY exposed.user_id
