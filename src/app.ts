import { factory } from "./context.ts";
import { describeApi } from "./openapi/document.ts";
import { allowedOrigins, answerProblem, inTime, observe } from "./edge/gateway.ts";
import { logged } from "./edge/log.ts";
import { methodsOf, takenMethods } from "./edge/methods.ts";
import { identify } from "./edge/identify.ts";
import { Problem } from "./problem.ts";
import { apiKeyRoutes } from "./routes/api-keys.ts";
import { auditTrail } from "./routes/audit-events.ts";
import { docs } from "./routes/docs.ts";
import { invitationAcceptance, invitationRoutes } from "./routes/invitations.ts";
import { issuerRoutes } from "./routes/issuers.ts";
import { me } from "./routes/me.ts";
import { members } from "./routes/members.ts";
import { platform } from "./routes/platform.ts";
import { operator } from "./routes/operator.ts";
import { problemPages } from "./routes/problems.ts";
import { projectRoutes } from "./routes/projects.ts";
import { ownSessions } from "./routes/sessions.ts";
import { signIns, signup } from "./routes/sign-in.ts";
import { projectTasks, taskRoutes } from "./routes/tasks.ts";
import { tenant } from "./routes/tenant.ts";
import { token } from "./routes/token.ts";
import { admit } from "./edge/admit.ts";

const methodsAt = (path: string): string[] => methodsOf(app, path);

/** The way of a request: gateway, then routes without a token, then identify and admit before those with one. */
export const app = factory
  .createApp()
  .use(observe, logged, inTime, allowedOrigins, takenMethods(methodsAt))
  .route("/", platform)
  .route("/", problemPages)
  .route("/docs", docs)

  .route("/v1/signup", signup)
  .route("/v1/sessions", signIns)
  .route("/v1/token", token)
  .route("/v1/invitations", invitationAcceptance)
  .route("/v1/operator", operator)

  .use("/v1/*", identify, admit)
  .route("/v1/me", me)
  .route("/v1/sessions", ownSessions)
  .route("/v1/tenant", tenant)
  .route("/v1/issuers", issuerRoutes)
  .route("/v1/members", members)
  .route("/v1/invitations", invitationRoutes)
  .route("/v1/api-keys", apiKeyRoutes)
  .route("/v1/projects", projectRoutes)
  .route("/v1/projects", projectTasks)
  .route("/v1/tasks", taskRoutes)
  .route("/v1/audit-events", auditTrail)

  .notFound(() => {
    throw new Problem("not_found");
  })
  .onError(answerProblem);

app.get("/openapi.json", ...describeApi(app));
