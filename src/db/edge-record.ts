import { sql } from "drizzle-orm";

// What the edge knows of a tenant, as SQL that makes JSON. Its schemas are in src/tenant/record.ts.

/** An EdgeRecord, of the tenants row with the alias t. To its people a suspended tenant that is closing is suspended still. */
export const edgeRecord = sql`json_build_object('id', t.id, 'slug', t.slug, 'name', t.name, 'plan', t.plan,
  'status', case when t.restores_to = 'suspended' then 'suspended' else t.status end, 'limits', t.limits, 'version', t.version, 'epoch', t.epoch,
  'site', (select json_build_object('name', a.name, 'schema', a.schema, 'server', a.server, 'host', a.host,
    'database', a.database, 'secret', a.secret, 'generation', a.generation)
    from sites a where a.name = t.site and a.kind <> 'shared'))`;

/** Whether the api_keys row with the alias k is not over. */
export const isLiveKey = sql`(k.expires_at is null or k.expires_at > now())`;

/** A KeyRecord, of the api_keys row with the alias k. The hash is in base64url, the expiry in ms. */
export const keyRecord = sql`json_build_object('id', k.id,
  'hash', translate(encode(k.hash, 'base64'), '+/=', '-_'), 'scopes', k.scopes,
  'expiresAt', floor(extract(epoch from k.expires_at) * 1000), 'version', k.version)`;
