// Holds the dashboards against the types that Grafana publishes of them: the whole
// against those of Grafana 11 and of the newest one, and what only one kind of
// panel knows (its options, and what is its own of a field) against that panel's.
//
//   node check.mjs MODULES DASHBOARD.json...
//
// MODULES is the directory in which package.json was installed. A dashboard is
// given to the compiler as a literal of its type, so that a key which is not known
// is an error, too. That this can fail is shown first, on dashboards broken on
// purpose.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [modules, ...files] = process.argv.slice(2);
if (!modules || files.length === 0) {
  console.error("usage: node check.mjs MODULES DASHBOARD.json...");
  process.exit(2);
}
const ts = createRequire(path.resolve(modules, "package.json"))("typescript");

const NEWEST = "@grafana/schema";
const OLDEST = "grafana-schema-11";
const ONE_KIND = (kind) =>
  `${NEWEST}/dist/esm/raw/composable/${kind}/panelcfg/x/`;
const KINDS = {
  bargauge: { module: "BarGauge", ownFields: false },
  heatmap: { module: "Heatmap", ownFields: true },
  stat: { module: "Stat", ownFields: false },
  table: { module: "Table", ownFields: true },
  timeseries: { module: "TimeSeries", ownFields: true },
};

const dashboards = files.map((file) => ({
  name: path.basename(file, ".json"),
  json: JSON.parse(fs.readFileSync(file, "utf8")),
}));

const broken = breakages(dashboards[0].json);
const all = faults([...dashboards, ...broken]);
const of = ({ name }) => all.filter((fault) => fault.startsWith(`${name}, `));
const unnoticed = broken.filter((dashboard) => of(dashboard).length === 0);
for (const { name } of unnoticed) {
  console.error(`the check does not notice this: ${name}`);
}
// What belongs to no broken one, be it about a dashboard or about the check itself.
const expected = broken.flatMap(of);
const found = all.filter((fault) => !expected.includes(fault));
for (const fault of found) {
  console.error(fault);
}
if (found.length + unnoticed.length > 0) {
  process.exit(1);
}
console.log(
  `${dashboards.length} dashboards are as Grafana's types want them; ` +
    `${broken.length} broken ones were noticed`,
);

// What the compiler says of them.
function faults(dashboards) {
  const source = `${modules}/dashboards.ts`;
  const text = source_of(dashboards);
  const options = {
    noEmit: true,
    skipLibCheck: true,
    strict: true,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ES2022,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile;
  host.getSourceFile = (name, ...rest) => {
    if (path.resolve(name) === path.resolve(source)) {
      return ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true);
    }
    if (name.includes("schema") && name.endsWith(".d.ts")) {
      const plain = enums_as_values(fs.readFileSync(name, "utf8"));
      return ts.createSourceFile(name, plain, ts.ScriptTarget.ES2022, true);
    }
    return read.call(host, name, ...rest);
  };
  const exists = host.fileExists;
  host.fileExists = (name) =>
    path.resolve(name) === path.resolve(source) || exists.call(host, name);
  const program = ts.createProgram([source], options, host);
  const file = program.getSourceFile(source);
  return [
    ...program.getSyntacticDiagnostics(file),
    ...program.getSemanticDiagnostics(file),
  ].map((diagnostic) => told(diagnostic, text));
}

// JSON holds the values of an enum, which TypeScript would not take for its members.
function enums_as_values(declarations) {
  return declarations.replace(
    /((?:export )?(?:declare )?)(?:const )?enum (\w+) \{([^}]*)\}/g,
    (_, before, name, members) => {
      const values = [...members.matchAll(/=\s*("[^"]*"|-?\d+)/g)].map(([, v]) => v);
      const exported = before.includes("export") ? "export " : "";
      return `${exported}type ${name} = ${values.join(" | ") || "never"};`;
    },
  );
}

function source_of(dashboards) {
  const lines = [
    `import type { Dashboard as Newest } from "${NEWEST}";`,
    `import type { Dashboard as Oldest } from "${OLDEST}";`,
  ];
  for (const [kind, { module, ownFields }] of Object.entries(KINDS)) {
    const names = `Options as ${module}Options` + (ownFields ? `, FieldConfig as ${module}Fields` : "");
    lines.push(`import type { ${names} } from "${ONE_KIND(kind)}${module}PanelCfg_types.gen";`);
  }
  const hold = (type, value, what) =>
    lines.push(`/* ${what} */ { const held: ${type} = ${JSON.stringify(value)}; void held; }`);
  for (const { name, json } of dashboards) {
    hold("Newest", json, name);
    hold("Oldest", json, name);
    for (const panel of json.panels.filter(({ type }) => type !== "row")) {
      const what = `${name}, panel ${panel.title}`;
      const kind = KINDS[panel.type];
      if (!kind) {
        hold("never", panel.type, `${what}: a kind of panel that is not checked yet`);
        continue;
      }
      hold(`${kind.module}Options`, panel.options, what);
      if (kind.ownFields) {
        hold(`${kind.module}Fields`, panel.fieldConfig.defaults.custom, what);
      }
    }
  }
  return lines.join("\n");
}

function told(diagnostic, text) {
  const message = ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n");
  const start = text.lastIndexOf("\n", diagnostic.start) + 1;
  const what = text.slice(start, start + 300).match(/^\/\* (.*?) \*\/ \{ const held: (\w+)/);
  const near = text.slice(diagnostic.start, diagnostic.start + 60);
  return `${what ? `${what[1]}, as ${what[2]}` : "?"}: ${message}\n  at ${near}`;
}

// One dashboard, each time with another thing wrong.
function breakages(whole) {
  const first = (type) => (json) => json.panels.find((panel) => panel.type === type);
  const change = {
    "a key of a dashboard that there is not": (json) => (json.refreshh = "1m"),
    "a text for a number": (json) => (json.panels[1].gridPos.h = "4"),
    "a key of a panel that there is not": (json) => (json.panels[1].titel = ""),
    "a variable of no kind": (json) => (json.templating.list[0].type = "promql"),
    "a link without its title": (json) => delete json.links[0].title,
    "no such way to draw": (json) =>
      (first("timeseries")(json).fieldConfig.defaults.custom.drawStyle = "curve"),
    "an option that there is not": (json) => (first("stat")(json).options.graph = "none"),
    "an option that is left out": (json) => delete first("stat")(json).options.colorMode,
    "no such kind of panel": (json) => (json.panels[1].type = "number"),
  };
  return Object.entries(change).map(([name, wrong]) => {
    const json = structuredClone(whole);
    wrong(json);
    return { name, json };
  });
}
