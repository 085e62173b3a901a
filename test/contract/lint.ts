import { createConfig, lintFromString } from "@redocly/openapi-core";
import spectralCore from "@stoplight/spectral-core";
import owasp from "@stoplight/spectral-owasp-ruleset";
import spectralRulesets from "@stoplight/spectral-rulesets";
import { readDocument } from "./document.ts";
import { faultsOfExamples, type Document } from "./examples.ts";

// Redocly's `recommended-strict`, Spectral's `oas` and its OWASP rules over the documents for everybody and for operators, and that each operation
// has a description and examples that fit. No linter calls anywhere.

type Finding = {
  rule: string;
  at: string;
  message: string;
  /** Of the schema that it is about. */
  pattern?: string | undefined;
};
type Exception = { rules: RegExp; at?: RegExp; because: string };

const REQUESTS = /\/(parameters|requestBody)\//;
const ANYWHERE = /^/;
/** Outside /v1 nothing takes a token. */
const WITHOUT_TOKEN =
  /^paths\/((\/(?!v1\/).*|\/v1\/erasures\/\{id\})\/get|\/v1\/(signup|sessions(\/(refresh|factor(\/enrolment)?|passkey))?|passkey-challenges|token|invitations\/accept|email-verifications\/confirm|password-resets(\/confirm)?|email-changes\/(confirm|undo))\/post|\/v1\/operator\/.*)(\/|$)/;

/** What the linters may say, where, and why it is right all the same. One that nothing falls under is a fault, too. */
const EXCEPTIONS: Exception[] = [
  {
    rules: /^owasp:api4:2023-(string-limit|string-restricted|array-limit|integer-limit|integer-format)$/,
    at: new RegExp(`^(?!.*${REQUESTS.source})`),
    because: "Limits on size guard what clients send. What the Worker answers is its own.",
  },
  {
    rules: /^owasp:api4:2023-string-restricted$/,
    at: REQUESTS,
    because: "Names, titles, notes and passwords are free text, whatever a pattern might say.",
  },
  {
    rules: /^owasp:api4:2023-(string-limit|array-limit|integer-limit)$/,
    at: /^paths\/\/v1\/operator\//,
    because: "Nobody has to be guarded against whoever runs the deployment; a body ends at 256 KiB.",
  },
  {
    rules: /^owasp:api4:2023-string-limit$/,
    at: /(\/(slug|tenant|audience)|\/audit-events\/get\/parameters\/\d+\/schema)$/,
    because: "Slugs and table names are as short as their patterns say.",
  },
  {
    rules: /^owasp:api4:2023-rate-limit$/,
    at: WITHOUT_TOKEN,
    because: "Without a tenant there are no exact limits to tell of: a flood guard by address answers 429.",
  },
  {
    rules: /^owasp:api(2:2023-(read|write)-restricted|8:2023-define-error-responses-401)$/,
    at: WITHOUT_TOKEN,
    because: "These are for whoever has no token yet.",
  },
  {
    rules: /^owasp:api8:2023-define-error-validation$/,
    at: WITHOUT_TOKEN,
    because: "They take no input that could be wrong, but a path, and that is 404.",
  },
  {
    rules: /^owasp:api1:2023-no-numeric-ids$/,
    at: /^paths\/\/v1\/sessions\/\{id\}\//,
    because: "A UUID, or `current`.",
  },
  {
    rules: /^owasp:api8:2023-define-cors-origin$/,
    because: "Which origins are allowed is the deployment's configuration; none are by default.",
  },
  {
    rules: /^owasp:api9:2023-inventory-environment$/,
    because: "The server is wherever the document is read, in every environment.",
  },
  {
    rules: /^oas3-operation-security-defined$/,
    because: "OpenAPI 3.1 lets any scheme name scopes. That the schemes exist, Redocly tests.",
  },
  {
    rules: /^(path-keys-no-trailing-slash|no-path-trailing-slash)$/,
    at: /problems/,
    because: "/problems/ is what the problems' types are under.",
  },
];

const source = await readDocument();

async function lintWithRedocly(): Promise<Finding[]> {
  const config = await createConfig({ extends: ["recommended-strict"], telemetry: "off" });
  const problems = await lintFromString({ source, absoluteRef: "openapi.json", config });
  return problems.map(({ ruleId, message, location }) => ({
    rule: ruleId,
    at: location[0]?.pointer?.replace(/^#\//, "").replaceAll("~1", "/") ?? "",
    message,
  }));
}

async function lintWithSpectral(): Promise<Finding[]> {
  const spectral = new spectralCore.Spectral();
  // Their types are of several copies of the same package.
  const rulesets = [
    [spectralRulesets.oas, "recommended"],
    [owasp, "all"],
  ] as never;
  spectral.setRuleset(new spectralCore.Ruleset({ extends: rulesets, rules: {} }));
  const problems = await spectral.run(source);
  const document: unknown = JSON.parse(source);
  return problems.map(({ code, path, message }) => {
    const about = path.reduce<unknown>((part, name) => Reflect.get(Object(part), name), document);
    const { pattern } = Object(about) as { pattern?: string };
    return { rule: String(code), at: path.join("/"), message, pattern };
  });
}

/** Whether the pattern bounds a text's length: it repeats nothing without end. */
function isBounded(pattern: string): boolean {
  const bare = pattern.replaceAll(/\\./g, "x").replaceAll(/\[[^\]]*\]/g, "x");
  return bare.startsWith("^") && bare.endsWith("$") && !/[*+]|\{\d+,\}/.test(bare);
}

const findings = (await Promise.all([lintWithRedocly(), lintWithSpectral()]))
  .flat()
  .filter(({ rule, pattern }) => !(rule.endsWith("-string-limit") && pattern && isBounded(pattern)));
const covers = ({ rules, at = ANYWHERE }: Exception, finding: Finding) =>
  rules.test(finding.rule) && at.test(finding.at);
const faults = [
  ...faultsOfExamples(JSON.parse(source) as Document),
  ...findings
    .filter((finding) => !EXCEPTIONS.some((exception) => covers(exception, finding)))
    .map(({ rule, at, message }) => `${rule} at ${at}: ${message}`),
  ...EXCEPTIONS.filter((exception) => !findings.some((finding) => covers(exception, finding))).map(
    ({ rules }) => `The exception from ${rules.source} in test/contract/lint.ts excepts nothing.`,
  ),
];
for (const fault of new Set(faults)) console.error(fault);
if (faults.length > 0) process.exitCode = 1;
