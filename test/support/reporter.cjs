// Tells what was skipped, then the result as one line: `N passed, N failed, N skipped`.
// The line goes to the file named by MBUILD_TEST_SUMMARY, for a caller that has something to print before it; else to standard output.
// MBUILD_TEST_CHECKS (`types:ok lint:failed`) are checks that ran before the tests, and count with them.
const { writeFileSync } = require('node:fs');
const { relative } = require('node:path');

class SummaryReporter {
  constructor(config) {
    this.root = config.rootDir;
  }

  onRunComplete(_contexts, results) {
    const skipped = results.testResults.flatMap((file) =>
      file.testResults
        .filter((test) => ['pending', 'skipped', 'todo', 'disabled'].includes(test.status))
        .map((test) => `skipped: ${relative(this.root, file.testFilePath)}: ${test.fullName}`),
    );
    for (const line of skipped) process.stdout.write(`${line}\n`);

    const checks = (process.env.MBUILD_TEST_CHECKS ?? '')
      .split(' ')
      .filter(Boolean)
      .map((check) => check.split(':'));
    for (const [name, state] of checks)
      if (state !== 'ok') process.stdout.write(`failed: ${name}\n`);
    const failedChecks = checks.filter(([, state]) => state !== 'ok').length;

    const passed = results.numPassedTests + checks.length - failedChecks;
    // A file that could not be loaded has no tests, and is a failure of its own.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites + failedChecks;
    const line = `${passed} passed, ${failed} failed, ${skipped.length} skipped\n`;
    if (process.env.MBUILD_TEST_SUMMARY) writeFileSync(process.env.MBUILD_TEST_SUMMARY, line);
    else process.stdout.write(line);
  }
}

module.exports = SummaryReporter;
