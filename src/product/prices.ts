/**
 * What the services that partywall runs on charge: published prices, beyond what a plan includes, as of this day. Put your
 * own in their place. `quantity` tells a part's quantity from a tenant's figures (docs/usage.md): the sum of each times a
 * number, divided by `per`; numbers are texts, because they are exact. Parts that are marked as assumed are estimates.
 */
export const PRICES = {
  currency: "USD",
  as_of: "2026-11-30",
  parts: [
    {
      what: "workers_requests",
      unit: "million requests",
      unit_price: "0.30",
      quantity: { requests: "1", refused: "1" },
      per: "1000000",
      source: "https://developers.cloudflare.com/workers/platform/pricing/",
    },
    {
      // Assumed: 2 ms of CPU for a request, and nothing for a refusal, which takes about a 50th of that.
      what: "workers_cpu",
      unit: "million CPU ms",
      unit_price: "0.02",
      quantity: { requests: "2" },
      per: "1000000",
      source: "https://developers.cloudflare.com/workers/platform/pricing/",
    },
    {
      // Each admitted request is a call at most: those of one isolate that wait go as one.
      what: "object_requests",
      unit: "million requests",
      unit_price: "0.15",
      quantity: { requests: "1" },
      per: "1000000",
      source: "https://developers.cloudflare.com/durable-objects/platform/pricing/",
    },
    {
      // An object in memory is billed for 128 MB.
      what: "object_duration",
      unit: "million GB-s",
      unit_price: "12.50",
      quantity: { object_ms: "0.128" },
      per: "1000000000",
      source: "https://developers.cloudflare.com/durable-objects/platform/pricing/",
    },
    {
      what: "object_rows_written",
      unit: "million rows",
      unit_price: "1.00",
      quantity: { object_rows: "1" },
      per: "1000000",
      source: "https://developers.cloudflare.com/durable-objects/platform/pricing/",
    },
    {
      // A month is 30 days.
      what: "archive_storage",
      unit: "GB-month",
      unit_price: "0.015",
      quantity: { archive_byte_days: "1" },
      per: "30000000000",
      source: "https://developers.cloudflare.com/r2/pricing/",
    },
    {
      // Assumed: a request that waits for Postgres has the smallest compute, of 0.25 CU, to itself. Neon's plan Launch.
      what: "database_compute",
      unit: "CU-hour",
      unit_price: "0.106",
      quantity: { db_ms: "0.25" },
      per: "3600000",
      source: "https://neon.com/faqs/serverless-database-services-postgres-charge-per-second",
    },
    {
      what: "database_storage",
      unit: "GB-month",
      unit_price: "0.35",
      quantity: { byte_days: "1" },
      per: "30000000000",
      source: "https://neon.com/faqs/serverless-database-services-postgres-charge-per-second",
    },
  ],
} as const;
