-- Actions to cluster, users one after another, each user's oldest first.
-- A row of the embeddings orders pins as their ids do; what is left of a tie cannot be told apart.
SELECT
    user_id,
    pin_row,
    acted_at,
    (epoch_us($end) - epoch_us(acted_at)) / 86400000000.0 AS age_days
FROM labelled_user_actions
WHERE reason IS NULL
ORDER BY user_id, acted_at, pin_row
