/**
 * The rules of docs/style.md that need a syntax tree, as a plugin of `deno lint`.
 * @module
 */
import {
  isProductFile,
  isPure,
  MAX_FUNCTION_LINES,
  SIZE_EXCEPTIONS,
  type SizeException,
} from "./layers.ts";

const ROOT = new URL("..", import.meta.url).href;

/** Globals that would let a pure file see time, chance or the outside. */
const AMBIENT: ReadonlySet<string> = new Set([
  "BroadcastChannel",
  "Date",
  "Deno",
  "EventSource",
  "Temporal",
  "WebSocket",
  "Worker",
  "caches",
  "clearInterval",
  "clearTimeout",
  "console",
  "crypto",
  "fetch",
  "globalThis",
  "localStorage",
  "navigator",
  "performance",
  "process",
  "queueMicrotask",
  "self",
  "sessionStorage",
  "setImmediate",
  "setInterval",
  "setTimeout",
]);

type Context = Deno.lint.RuleContext;
type FunctionNode =
  | Deno.lint.FunctionDeclaration
  | Deno.lint.FunctionExpression
  | Deno.lint.ArrowFunctionExpression;

/** Private members are `#name`: the language keeps them private, not only the checker. */
const hashPrivate: Deno.lint.Rule = {
  create(context) {
    function judge(node: Deno.lint.Node & { accessibility?: string | undefined }): void {
      if (!node.accessibility) return;
      // A constructor has no #name, and a private one is how a class says "use my factory".
      if (node.type === "MethodDefinition" && node.kind === "constructor") return;
      context.report({ node, message: `Use #name or nothing, not "${node.accessibility}"` });
    }
    return {
      PropertyDefinition: judge,
      MethodDefinition: judge,
      TSParameterProperty(node) {
        // The tree of `deno lint` leaves this node's accessibility out.
        const keyword = /^(public|private|protected)\b/.exec(context.sourceCode.getText(node));
        if (keyword) context.report({ node, message: `Declare a field, not "${keyword[0]} x"` });
      },
      TSAbstractPropertyDefinition: judge,
      TSAbstractMethodDefinition: judge,
    };
  },
};

/** A function at the top of a module is declared with `function`; arrows are for closures. */
const topLevelFunction: Deno.lint.Rule = {
  create(context) {
    function judge(statement: Deno.lint.Node): void {
      if (statement.type !== "VariableDeclaration") return;
      for (const { init } of statement.declarations) {
        if (init?.type !== "ArrowFunctionExpression" && init?.type !== "FunctionExpression") {
          continue;
        }
        context.report({ node: init, message: "Declare a top-level function with `function`" });
      }
    }
    return {
      Program(node) {
        for (const statement of node.body) {
          const isExport = statement.type === "ExportNamedDeclaration";
          if (isExport && statement.declaration) judge(statement.declaration);
          else judge(statement);
        }
      },
    };
  },
};

/** A union of literals needs no run-time object and no import. */
const noEnum: Deno.lint.Rule = {
  create(context) {
    return {
      TSEnumDeclaration(node) {
        context.report({ node, message: "Use a union of string literals, not an enum" });
      },
    };
  },
};

/** A thing has one name everywhere. */
const noDefaultExport: Deno.lint.Rule = {
  create(context) {
    return {
      ExportDefaultDeclaration(node) {
        context.report({ node, message: "Export by name, not by default" });
      },
    };
  },
};

/** Messages read "Cannot <do what>: <state>", without a full stop. */
const errorWording: Deno.lint.Rule = {
  create(context) {
    return {
      NewExpression(node) {
        if (node.callee.type !== "Identifier" || node.callee.name !== "MeshError") return;
        const message = node.arguments[1];
        const [first, last] = textEnds(message);
        if (first !== null && first !== "" && !/^Cannot /.test(first)) {
          context.report({ node: message!, message: 'Begin an error message with "Cannot "' });
        }
        if (last?.endsWith(".")) {
          context.report({ node: message!, message: "End an error message without a full stop" });
        }
      },
    };
  },
};

/** Pure layers get time, entropy and bytes as arguments. */
const pureCore: Deno.lint.Rule = {
  create(context) {
    if (!isPure(pathOf(context))) return {};
    // In `{ fetch }` key and value are one word and two nodes.
    const reported = new Set<number>();
    function judgeFunction(node: FunctionNode): void {
      if (node.async) context.report({ node, message: "A pure file may not be async" });
    }
    return {
      Identifier(node) {
        if (!AMBIENT.has(node.name) || isPropertyName(node)) return;
        if (reported.has(node.range[0])) return;
        reported.add(node.range[0]);
        context.report({ node, message: `A pure file may not use ${node.name}` });
      },
      MemberExpression(node) {
        if (context.sourceCode.getText(node) !== "Math.random") return;
        context.report({ node, message: "A pure file may not use Math.random" });
      },
      FunctionDeclaration: judgeFunction,
      FunctionExpression: judgeFunction,
      ArrowFunctionExpression: judgeFunction,
    };
  },
};

/** A function fits on a screen. */
const functionLength: Deno.lint.Rule = {
  create(context) {
    const path = pathOf(context);
    if (!isProductFile(path) && !path.startsWith("scripts/")) return {};
    if (path.endsWith("_test.ts")) return {};
    function judge(node: FunctionNode): void {
      const lines = context.sourceCode.getText(node).split("\n").length;
      const name = nameOf(node);
      const exception = SIZE_EXCEPTIONS.find((each) => isFor(each, path, name));
      const limit = exception?.lines ?? MAX_FUNCTION_LINES;
      if (lines > limit) {
        context.report({ node, message: `${name} has ${lines} lines, more than ${limit}` });
      }
    }
    return {
      FunctionDeclaration: judge,
      FunctionExpression: judge,
      ArrowFunctionExpression: judge,
    };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "tunnelmesh",
  rules: {
    "hash-private": hashPrivate,
    "top-level-function": topLevelFunction,
    "no-enum": noEnum,
    "no-default-export": noDefaultExport,
    "error-wording": errorWording,
    "pure-core": pureCore,
    "function-length": functionLength,
  },
};

// deno-lint-ignore tunnelmesh/no-default-export -- the interface of `deno lint` asks for it
export default plugin;

function pathOf(context: Context): string {
  const url = context.filename.startsWith("/") ? `file://${context.filename}` : context.filename;
  return url.startsWith(ROOT) ? url.slice(ROOT.length) : url;
}

function isFor(exception: SizeException, path: string, name: string): boolean {
  return exception.path === path && exception.function === name;
}

function nameOf(node: FunctionNode): string {
  if (node.type !== "ArrowFunctionExpression" && node.id) return node.id.name;
  const { parent } = node;
  if (parent.type === "MethodDefinition" || parent.type === "Property") {
    return parent.key.type === "Identifier" ? parent.key.name : "A method";
  }
  if (parent.type === "VariableDeclarator" && parent.id.type === "Identifier") {
    return parent.id.name;
  }
  return "A function";
}

/** Whether an identifier only names a member (`x.fetch`, `{ fetch: 1 }`, `fetch(): void`). */
function isPropertyName(node: Deno.lint.Identifier): boolean {
  const parent = node.parent as Deno.lint.Node & { key?: unknown; property?: unknown } & {
    computed?: boolean;
    shorthand?: boolean;
  };
  if (parent.computed || parent.shorthand) return false;
  return isSame(parent.property, node) || isSame(parent.key, node);
}

/** Nodes are made afresh at each access, so they are compared by place. */
function isSame(a: unknown, b: Deno.lint.Node): boolean {
  const range = (a as { range?: readonly number[] } | undefined)?.range;
  return range !== undefined && range[0] === b.range[0] && range[1] === b.range[1];
}

/** The literal beginning and end of a message; null where it is computed. */
function textEnds(node: Deno.lint.Node | undefined): [string | null, string | null] {
  if (node?.type === "Literal" && typeof node.value === "string") return [node.value, node.value];
  if (node?.type === "TemplateLiteral") {
    return [node.quasis[0]?.cooked ?? null, node.quasis.at(-1)?.cooked ?? null];
  }
  return [null, null];
}
