// MonitorsTests
