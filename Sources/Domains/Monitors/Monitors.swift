// Monitors
