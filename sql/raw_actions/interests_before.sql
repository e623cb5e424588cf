-- Who showed interest in what before $end.
SELECT DISTINCT
    user_id,
    pin_id
FROM raw_actions
WHERE
    acted_at < $end
    AND list_contains($interest_actions, action)
    AND user_id IS NOT NULL
    AND pin_id IS NOT NULL
ORDER BY user_id, pin_id
