import { setInterval } from "node:timers/promises";
import pg from "pg";

const BLOCKERS = `
select distinct a.pid, coalesce(nullif(a.application_name, ''), 'unnamed') as program, a.usename as login, a.state,
  a.query_start as since, case w.locktype when 'relation' then w.relation::regclass::text
    when 'advisory' then 'another migration' else 'an older transaction' end as awaited
from pg_locks w cross join unnest(pg_blocking_pids(w.pid)) b (pid) left join pg_stat_activity a on a.pid = b.pid
where w.pid = $1 and not w.granted order by pid`;

type Blocker = {
  /** Null where a prepared transaction holds the lock. */
  pid: number | null;
  program: string;
  login: string | null;
  /** Null, like `since`, where the asking login may not know. */
  state: string | null;
  since: Date | null;
  awaited: string;
};

export type BlockerWatch = {
  /** Who was in the way last, in a sentence; empty if nobody was. */
  last(): string;
  stop(): Promise<void>;
};

/**
 * Looks every `everyMs`, from a connection of its own, whether this backend waits, and says for whom, without the text
 * of anybody's query. A watch that cannot see says nothing: the migration goes on.
 */
export function watchBlockers(
  connectionString: string,
  pid: number,
  everyMs: number,
  say: (line: string) => void,
): BlockerWatch {
  const end = new AbortController();
  let last = "";
  const watching = (async () => {
    let client: pg.Client | undefined;
    try {
      for await (const _ of setInterval(everyMs, undefined, { signal: end.signal })) {
        client ??= await connect(connectionString);
        const { rows } = await client.query<Blocker>(BLOCKERS, [pid]);
        const seen = rows.map(describe).join(" ");
        if (seen && seen !== last) say((last = seen));
      }
    } catch {
      // Stopped, or out of connections.
    } finally {
      await client?.end();
    }
  })();
  return {
    last: () => last,
    async stop() {
      end.abort();
      await watching;
    },
  };
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: "partywall watch" });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

function describe({ pid, program, login, state, since, awaited }: Blocker): string {
  if (pid === null) return `Waiting for ${awaited}: a prepared transaction holds it.`;
  const doing = state ? `, ${state}${since ? ` since ${since.toISOString()}` : ""}` : "";
  return `Waiting for ${awaited}: pid ${pid} (${program}, as ${login ?? "nobody"}${doing}) is in the way.`;
}
