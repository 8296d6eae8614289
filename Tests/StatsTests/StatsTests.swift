// StatsTests
