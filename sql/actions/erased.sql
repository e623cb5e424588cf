-- Users of the rows that were read who were ordered to be erased; the record has their digests.
SELECT user_id
FROM (SELECT DISTINCT user_id FROM read_actions) AS users
WHERE sha256($salt || user_id::VARCHAR) IN (SELECT unnest($erased))
