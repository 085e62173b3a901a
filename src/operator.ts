// The people who run this deployment, and what each of their roles may do. Routes, the command line and tests read it here.

/** Each role may also do what those before it may. */
export const OPERATOR_ROLES = ["viewer", "support", "admin"] as const;
export type OperatorRole = (typeof OPERATOR_ROLES)[number];

/** The role that each act takes at least. */
export const TAKES = {
  read: "viewer",
  startExport: "support",
  restoreTenant: "support",
  endSessions: "support",
  enterTenant: "support",
  createTenant: "admin",
  changeTenant: "admin",
  closeTenant: "admin",
  eraseTenant: "admin",
} as const satisfies Record<string, OperatorRole>;

/** Who operates, as of this request. */
export type Operator = {
  readonly id: string;
  readonly email: string;
  readonly role: OperatorRole;
  /** Null of a script, which signs in nowhere. */
  readonly sessionId: string | null;
};

/** Whoever holds OPERATOR_TOKEN: no person, so that the trail calls it by this name. */
export const SCRIPT: Operator = {
  id: "00000000-0000-0000-0000-000000000000",
  email: "script",
  role: "admin",
  sessionId: null,
};

export const includesRole = (role: OperatorRole, needed: OperatorRole): boolean =>
  OPERATOR_ROLES.indexOf(role) >= OPERATOR_ROLES.indexOf(needed);
