// RunnerTests
