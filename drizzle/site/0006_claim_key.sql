-- What was kept until now cannot be read as an answer any more.
DELETE FROM idempotency_keys;
--> statement-breakpoint
-- Takes an Idempotency-Key for the request whose transaction this is; the rows of its answer are then kept beside it. If the
-- same request has come with the key within a day, nothing of this one runs: PW001 brings the first answer, as the error's
-- constraint, which goes to the client alone and never to Postgres' log. PW002: another request has the key. Waits while
-- another transaction holds the key. Takes some expired keys along: more than one, so that they do not pile up.
CREATE FUNCTION public.claim_key(claimed text, hash bytea) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	first public.idempotency_keys;
	expired CONSTANT timestamptz := now() - interval '24 hours';
BEGIN
	INSERT INTO public.idempotency_keys AS k (key, request_hash, answer) VALUES (claimed, hash, '{}')
		ON CONFLICT (tenant_id, actor_id, key) DO UPDATE
			SET request_hash = excluded.request_hash, answer = excluded.answer, created_at = now()
			WHERE k.created_at < expired;
	IF NOT FOUND THEN
		SELECT * INTO STRICT first FROM public.idempotency_keys
			WHERE actor_id = public.current_actor_id() AND key = claimed;
		IF first.request_hash <> hash THEN
			RAISE 'another request has this key' USING ERRCODE = 'PW002';
		END IF;
		RAISE 'this request has its answer' USING ERRCODE = 'PW001', CONSTRAINT = first.answer::text;
	END IF;
	DELETE FROM public.idempotency_keys WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM public.idempotency_keys WHERE created_at < expired
		ORDER BY created_at LIMIT 10 FOR UPDATE SKIP LOCKED));
END
$$;
