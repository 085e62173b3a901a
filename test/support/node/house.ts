import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type pg from "pg";
import * as v from "valibot";
import { connect, connected } from "../../../drizzle/connected.ts";
import { localDatabase } from "../../../drizzle/local-database.ts";
import { startStack, type Stack } from "../../../drizzle/local/stack.ts";
import { addSite } from "../../../drizzle/site-add.ts";
import { newInvitation } from "../../../src/identity/sealing.ts";
import { keyRing } from "../../../src/settings.ts";
import type { Migrated } from "../../bench/bed.ts";
import { serve, type Served } from "../../bench/workerd.ts";
import { startMigrated } from "./cluster.ts";
import { deployedBundle } from "./deployed.ts";
import { TESTS_MIGRATIONS } from "./product.ts";

const PASSWORD = "correct horse battery staple";
const quiet = { ...TESTS_MIGRATIONS, say: () => undefined };

/** Does not wait for the disk, which only a crash of the machine needs. Commits are still written: tests kill Postgres. */
const withoutSync = ({ superuserUrl }: Stack) =>
  connected(superuserUrl, async (client) => {
    for (const name of ["fsync", "full_page_writes"]) await client.query(`alter system set ${name} = off`);
    await client.query("alter system set synchronous_commit = on");
    await client.query("select pg_reload_conf()");
  });

/**
 * Two Postgres servers with the shared site, a site `own-schema` beside it and a site `own-database` at the second one; the
 * Worker as it would be deployed; and the command line for them.
 */
export class House implements AsyncDisposable {
  readonly #resources: AsyncDisposableStack;
  readonly dir: string;
  readonly first: Stack;
  second: Stack;
  readonly variables: Migrated["variables"];
  /** The superuser, in the control plane's database. */
  root: pg.Client;
  #worker: Served | undefined;

  get worker(): Served {
    if (!this.#worker) throw new Error("no Worker runs");
    return this.#worker;
  }

  private constructor(
    of: Pick<House, "first" | "second" | "variables" | "root">,
    dir: string,
    resources: AsyncDisposableStack,
  ) {
    ({ first: this.first, second: this.second, variables: this.variables, root: this.root } = of);
    this.dir = dir;
    this.#resources = resources;
  }

  static async start(): Promise<House> {
    const dir = mkdtempSync(join(tmpdir(), "partywall-sites-"));
    // As root, Postgres runs as another user, who then reaches its data here.
    chmodSync(dir, 0o711);
    for (const name of ["first", "second"]) mkdirSync(join(dir, name));
    const [{ stack: first, variables }, second] = await Promise.all([
      startMigrated({ dir: join(dir, "first") }),
      startStack({ dir: join(dir, "second") }),
    ]);
    await Promise.all([first, second].map(withoutSync));
    const root = await connect(first.superuserUrl.replace(/[^/]*$/, "partywall"));
    const house = new House({ first, second, variables, root }, dir, new AsyncDisposableStack());
    await addSite({ name: "own-schema", schema: true }, variables, quiet);
    const databaseUrl = await localDatabase("own-database", second.superuserUrl);
    await addSite({ name: "own-database", schema: false, databaseUrl }, variables, quiet);
    await house.startWorker();
    return house;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.root.end();
    await this.#resources.disposeAsync();
    await Promise.all([this.first.stop(), this.second.stop()]);
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Starts another Worker, with these variables as they are now, in place of the one before. */
  async startWorker(): Promise<void> {
    this.#worker = await serve(this.#resources, await deployedBundle(), {
      ...this.variables,
      NEON_FETCH_ENDPOINT: this.first.endpoint,
      ISSUER: "https://api.partywall.test",
      TENANT_LOCATION_HINT: "weur",
      API_KEY_ENVIRONMENT: "test",
      ALLOWED_ORIGINS: "",
      LOG_REQUESTS: "off",
    });
  }

  /** Copies a server's database as it is now, while nobody is connected to it. Returns its superuser's connection string. */
  async copyDatabase(of: Stack, database: string, to: string): Promise<string> {
    if (of === this.first) await this.root.end();
    await connected(of.superuserUrl, async (client) => {
      await client.query(`alter database "${database}" allow_connections false`);
      await client.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [
        database,
      ]);
      await client.query(`create database "${to}" template "${database}"`);
      await client.query(`alter database "${database}" allow_connections true`);
      await client.query(`alter database "${to}" owner to partywall_migrator`);
    });
    if (of === this.first) this.root = await connect(of.superuserUrl.replace(/[^/]*$/, "partywall"));
    return of.superuserUrl.replace(/[^/]*$/, to);
  }

  /** Stops the second server, as if it had gone; returns what starts it again, at the same port. */
  async stopSecond(): Promise<() => Promise<void>> {
    const { postgresPort } = this.second;
    await this.second.stop();
    return async () => {
      this.second = await startStack({ dir: join(this.dir, "second"), postgresPort });
    };
  }

  /** A request to the Worker. */
  ask = (method: string, path: string, token?: string, body?: object, headers = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${this.worker.port}${path}`, {
      method,
      headers: {
        ...headers,
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body && { "content-type": "application/json" }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });

  tenantId = async (slug: string): Promise<string> => {
    const { rows } = await this.root.query("select id from control.tenants where slug = $1", [slug]);
    return rows[0].id;
  };

  /** Runs it as a superuser in the database of a site, with the site's schema. */
  at = <Result>(
    site: string,
    work: (client: pg.Client, schema: string) => Promise<Result>,
  ): Promise<Result> => {
    const isSecond = site === "own-database";
    const url = (isSecond ? this.second : this.first).superuserUrl;
    const schema = site === "own-schema" ? "site_own_schema" : "public";
    return connected(url.replace(/[^/]*$/, isSecond ? site : "partywall"), (client) => work(client, schema));
  };

  /** All of a tenant's rows at a site, as texts that begin with their table's name. */
  rowsOf = async (slug: string, site: string): Promise<string[]> => {
    const id = await this.tenantId(slug);
    return this.at(site, async (client, schema) => {
      const { rows: tables } = await client.query<{ name: string }>(
        `select c.relname as name from pg_class c join pg_policy on polrelid = c.oid and polname = 'tenant_only'
         where relnamespace = $1::regnamespace order by 1`,
        [schema],
      );
      const found = [];
      for (const { name } of tables) {
        const { rows } = await client.query<{ row: string }>(
          `select $2 || t::text as row from ${schema}.${name} t where tenant_id = $1`,
          [id, name],
        );
        found.push(...rows.map(({ row }) => row));
      }
      return found.sort();
    });
  };

  /** Has somebody join a tenant as another owner, by an invitation that nobody is mailed. */
  join = async (slug: string, email: string): Promise<void> => {
    const tenant = await this.tenantId(slug);
    const [key] = v.parse(keyRing, this.variables.OPAQUE_TOKEN_KEYS);
    const { id, hash, text: token } = newInvitation(key, tenant, email);
    await this.root.query(
      `insert into control.invitations (id, tenant_id, email, role, token_hash, invited_by, expires_at)
       values ($1, $2, $3, 'owner', $4, $2, now() + interval '1 day')`,
      [id, tenant, email, Buffer.from(hash)],
    );
    const joined = await this.ask("POST", "/v1/invitations/accept", undefined, { token, password: PASSWORD });
    if (joined.status !== 201) throw new Error(await joined.text());
  };

  /** The names of a tenant's projects at a site, by their ids. */
  projectsOf = async (slug: string, site: string): Promise<Map<string, string>> => {
    const id = await this.tenantId(slug);
    return this.at(site, async (client, schema) => {
      const { rows } = await client.query<{ id: string; name: string }>(
        `select id, name from ${schema}.projects where tenant_id = $1`,
        [id],
      );
      return new Map(rows.map((row) => [row.id, row.name]));
    });
  };

  /** Ends the connections of the logins whose names begin so, at both servers. */
  disconnect = async (logins: string): Promise<void> => {
    for (const { superuserUrl } of [this.first, this.second])
      await connected(superuserUrl, (client) =>
        client.query("select pg_terminate_backend(pid) from pg_stat_activity where usename ^@ $1", [logins]),
      );
  };

  /** Runs a program of the project's to its end, with nothing of this process' environment. Throws if it prints a secret. */
  run = async (program: string, ...args: string[]) => {
    const child = this.spawn(program, ...args);
    const [out, error, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "exit") as Promise<[number]>,
    ]);
    for (const secret of Object.entries(this.variables).flatMap(([name, value]) => secretsOf(name, value)))
      if ((out + error).includes(secret)) throw new Error(`${program} prints a secret.`);
    return { out, error, code };
  };

  /** The same, for whoever does something to it meanwhile. */
  spawn = (program: string, ...args: string[]) => {
    const { PATH = "", HOME = "", NODE_COMPILE_CACHE = "" } = process.env;
    return spawn(process.execPath, [program, ...args], {
      env: {
        PATH,
        HOME,
        NODE_COMPILE_CACHE,
        WRANGLER_SEND_METRICS: "false",
        ISSUER: "https://api.example.test",
        ...this.variables,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
  };

  tenants = (...args: string[]) => this.run("drizzle/tenants.ts", ...args);

  /** What a command prints for programs. Throws when it fails. */
  told = async <T>(...args: string[]): Promise<T> => {
    const { out, error, code } = await this.tenants(...args, "--json");
    if (code !== 0) throw new Error(error);
    return JSON.parse(out) as T;
  };

  /** A tenant at a site, made by the command line; its owner's access token. */
  newTenant = async (slug: string, site: string): Promise<string> => {
    const owner = `owner@${slug}.test`;
    const make = ["create", slug, "--site", site, "--owner", owner, "--plan", "enterprise"];
    const { invitation } = await this.told<{ invitation: string }>(...make);
    const session = await this.ask("POST", "/v1/invitations/accept", undefined, {
      token: invitation,
      password: PASSWORD,
    });
    if (session.status !== 201) throw new Error(await session.text());
    return ((await session.json()) as { access_token: string }).access_token;
  };
}

const secretsOf = (name: string, value: string): string[] =>
  name.endsWith("URL")
    ? [new URL(value).password]
    : value.startsWith("{")
      ? []
      : (value.match(/[\w-]{43}/g) ?? []);
