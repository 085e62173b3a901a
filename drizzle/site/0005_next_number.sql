-- The tenant's next number of this counter, from 1 on: for the default of a column. It is taken in the caller's transaction,
-- and others wait for the same counter until that ends, so numbers have no gaps and are in the order of commits.
CREATE FUNCTION public.next_number(counter text) RETURNS bigint LANGUAGE sql SET search_path = '' AS $$
	INSERT INTO public.counters AS c (name, value) VALUES (counter, 1)
		ON CONFLICT (tenant_id, name) DO UPDATE SET value = c.value + 1 RETURNING value
$$;
