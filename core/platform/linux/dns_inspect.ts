/**
 * What the resolver's diagnosis needs of Linux, in one place.
 * @module
 */
export { isStub } from "./dns_file.ts";
export { findProgram, outputOf, runProgram } from "./dns_program.ts";
export { identifyWriter, parseMarker, parseResolvConf, RESOLV_CONF } from "./resolv_conf.ts";
export { hasImmutableFlag, readText } from "./resolv_conf_file.ts";
export { RESOLVED_DIRECTORY } from "./resolved.ts";
