-- The pins that are a medoid of the most users, for users of whom nothing is known.
SELECT pin_id
FROM medoids
GROUP BY pin_id
ORDER BY count(*) DESC, sum(n_actions) DESC, pin_id
LIMIT $most
