-- warn: a raw row without a user, a pin, an action or a time
SELECT event_id, user_id, pin_id, action, acted_at, reason
FROM labelled_actions
WHERE reason IN ('no_user', 'no_pin', 'no_action', 'no_time', 'user_id_too_long');

-- warn: a raw row outside the day that its file is for
SELECT event_id, user_id, pin_id, acted_at, reason
FROM labelled_actions
WHERE reason IN ('before_the_day', 'after_the_day');

-- warn: an event that was there already
SELECT event_id, user_id, pin_id, acted_at
FROM labelled_actions
WHERE reason = 'duplicate';
