#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The C library's functions under names that do not clash.
enum Mathematics {
    static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
    static func remainder(_ value: Double, _ divisor: Double) -> Double { fmod(value, divisor) }
    static func arcTangent(_ y: Double, _ x: Double) -> Double { atan2(y, x) }
    static func logarithm2(_ value: Double) -> Double { log2(value) }
    static func power2(_ value: Double) -> Double { exp2(value) }

    /// The function of one number that a PromQL function of the same name applies; nil for others.
    static func simple(_ function: Function) -> ((Double) -> Double)? {
        switch function {
        case .abs: { $0.magnitude }
        case .ceil: { $0.rounded(.up) }
        case .floor: { $0.rounded(.down) }
        case .exp: { exp($0) }
        case .sqrt: { $0.squareRoot() }
        case .ln: { log($0) }
        case .log2: { log2($0) }
        case .log10: { log10($0) }
        case .sin: { sin($0) }
        case .cos: { cos($0) }
        case .tan: { tan($0) }
        case .asin: { asin($0) }
        case .acos: { acos($0) }
        case .atan: { atan($0) }
        case .sinh: { sinh($0) }
        case .cosh: { cosh($0) }
        case .tanh: { tanh($0) }
        case .asinh: { asinh($0) }
        case .acosh: { acosh($0) }
        case .atanh: { atanh($0) }
        case .rad: { $0 * .pi / 180 }
        case .deg: { $0 * 180 / .pi }
        case .sgn: { $0 < 0 ? -1 : ($0 > 0 ? 1 : $0) }
        default: nil
        }
    }

    /// Compensated addition (Neumaier): keeps what a plain sum would round away.
    @inline(__always)
    static func add(_ value: Double, _ sum: inout Double, _ compensation: inout Double) {
        let total = sum + value
        if total.isInfinite {
            compensation = 0
        } else if sum.magnitude >= value.magnitude {
            compensation += (sum - total) + value
        } else {
            compensation += (value - total) + sum
        }
        sum = total
    }

    /// The quantile of numbers, interpolated between neighbours; sorts them. NaN sorts below all.
    static func quantile(_ q: Double, _ values: inout [Double]) -> Double {
        if values.isEmpty || q.isNaN { return .nan }
        if q < 0 { return -.infinity }
        if q > 1 { return .infinity }
        values.sort { $0.isNaN ? !$1.isNaN : $0 < $1 }
        let rank = q * (Double(values.count) - 1)
        let low = max(0, rank.rounded(.down))
        let high = min(Double(values.count) - 1, low + 1)
        let weight = rank - rank.rounded(.down)
        return values[Int(low)] * (1 - weight) + values[Int(high)] * weight
    }
}
