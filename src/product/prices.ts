/**
 * What the services that partywall runs on charge: published prices, beyond what a plan includes, as of this day. Put your
 * own in their place. `quantity` tells a part's quantity from a tenant's figures (docs/usage.md): the sum of each times a
 * number, divided by `per`; numbers are texts, because they are exact. Parts that are marked as assumed are estimates. `neon`
 * is for a tenant with a Neon project of its own: a part there takes the place of the one with the same `what` above.
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
  neon: [
    {
      // Neon's plan Launch; on Scale a CU-hour is 0.222.
      what: "database_compute",
      unit: "CU-hour",
      unit_price: "0.106",
      quantity: { compute_unit_seconds: "1" },
      per: "3600",
      source: "https://neon.com/docs/introduction/usage-calculations",
    },
    {
      // Neon counts byte-hours, and a month is 744 hours.
      what: "database_storage",
      unit: "GB-month",
      unit_price: "0.35",
      quantity: { root_branch_bytes_month: "1", child_branch_bytes_month: "1" },
      per: "744000000000",
      source: "https://neon.com/docs/introduction/usage-calculations",
    },
    {
      what: "database_history",
      unit: "GB-month",
      unit_price: "0.20",
      quantity: { instant_restore_bytes_month: "1" },
      per: "744000000000",
      source: "https://neon.com/docs/introduction/usage-calculations",
    },
    {
      what: "database_snapshots",
      unit: "GB-month",
      unit_price: "0.09",
      quantity: { snapshot_storage_bytes_month: "1" },
      per: "744000000000",
      source: "https://neon.com/docs/introduction/usage-calculations",
    },
    {
      what: "database_transfer",
      unit: "GB",
      unit_price: "0.10",
      quantity: { public_network_transfer_bytes: "1" },
      per: "1000000000",
      source: "https://neon.com/docs/introduction/usage-calculations",
    },
    {
      // Neon's plan Scale has it alone.
      what: "database_private_transfer",
      unit: "GB",
      unit_price: "0.01",
      quantity: { private_network_transfer_bytes: "1" },
      per: "1000000000",
      source: "https://neon.com/docs/introduction/usage-calculations",
    },
  ],
} as const;
