// A tenant's life. `npm run db:migrate` gives Postgres the transitions as a function (drizzle/authority.ts), so that they
// hold on every path. Erased tenants have no row any more: the ledger of erasures names them.

export const TENANT_STATUSES = ["active", "read_only", "suspended", "closing", "erasing"] as const;
export type TenantStatus = (typeof TENANT_STATUSES)[number];

/** What a request is to its tenant: `leave` is what an owner needs while it closes, such as its export and its restoring. */
export type Access = "read" | "write" | "leave";

/** Who changes a tenant's status: an owner, whoever operates the deployment, or the end of the grace period. */
type By = "owner" | "operator" | "time";

type State = {
  /** What is let in, by what it is to the tenant. */
  admits: readonly Access[];
  /** Who may sign in: everybody, owners alone and only if they have no other tenant to enter, or nobody. */
  signsIn: "members" | "owners" | "nobody";
  /** What may come next, and who brings it about. */
  next: Partial<Record<TenantStatus, readonly By[]>>;
};

export const STATES: Record<TenantStatus, State> = {
  active: {
    admits: ["read", "write", "leave"],
    signsIn: "members",
    next: {
      read_only: ["operator"],
      suspended: ["operator"],
      closing: ["owner", "operator"],
      erasing: ["operator"],
    },
  },
  read_only: {
    admits: ["read", "leave"],
    signsIn: "members",
    next: {
      active: ["operator"],
      suspended: ["operator"],
      closing: ["owner", "operator"],
      erasing: ["operator"],
    },
  },
  suspended: {
    admits: [],
    signsIn: "nobody",
    next: {
      active: ["operator"],
      read_only: ["operator"],
      closing: ["operator"],
      erasing: ["operator"],
    },
  },
  closing: {
    admits: ["leave"],
    signsIn: "owners",
    // An owner brings back what was before, and an operator too; a suspended tenant's owner does not (change_status()).
    next: {
      active: ["owner", "operator"],
      read_only: ["owner", "operator"],
      suspended: ["operator"],
      erasing: ["operator", "time"],
    },
  },
  erasing: { admits: [], signsIn: "nobody", next: {} },
};

/** The states in which this holds. */
export const statesWhere = (holds: (state: State) => boolean): TenantStatus[] =>
  TENANT_STATUSES.filter((status) => holds(STATES[status]));

/** Whether a tenant in this state lets the request in. */
export const admits = (status: TenantStatus, access: Access): boolean =>
  STATES[status].admits.includes(access);
