// KernelTesting
