import Glibc

/// 2^power.
func twoToThe(_ power: Double) -> Double { exp2(power) }
