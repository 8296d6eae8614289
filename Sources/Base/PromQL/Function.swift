/// The functions of the language. The raw value is the name.
package enum Function: String, Sendable, CaseIterable {
    case abs, absent, acos, acosh, asin, asinh, atan, atanh, ceil, changes, clamp, cos, cosh, deg, delta, deriv, exp,
        floor, hour
    case idelta, increase, info, irate, ln, log10, log2, minute, month, pi, rad, rate, resets, round, scalar, sgn, sin,
        sinh, sort
    case sqrt, tan, tanh, time, timestamp, vector, year
    case absentOverTime = "absent_over_time"
    case avgOverTime = "avg_over_time"
    case clampMax = "clamp_max"
    case clampMin = "clamp_min"
    case countOverTime = "count_over_time"
    case daysInMonth = "days_in_month"
    case dayOfMonth = "day_of_month"
    case dayOfWeek = "day_of_week"
    case dayOfYear = "day_of_year"
    case doubleExponentialSmoothing = "double_exponential_smoothing"
    case firstOverTime = "first_over_time"
    case histogramAvg = "histogram_avg"
    case histogramCount = "histogram_count"
    case histogramFraction = "histogram_fraction"
    case histogramQuantile = "histogram_quantile"
    case histogramStddev = "histogram_stddev"
    case histogramStdvar = "histogram_stdvar"
    case histogramSum = "histogram_sum"
    case labelJoin = "label_join"
    case labelReplace = "label_replace"
    case lastOverTime = "last_over_time"
    case madOverTime = "mad_over_time"
    case maxOverTime = "max_over_time"
    case minOverTime = "min_over_time"
    case predictLinear = "predict_linear"
    case presentOverTime = "present_over_time"
    case quantileOverTime = "quantile_over_time"
    case sortDesc = "sort_desc"
    case sortByLabel = "sort_by_label"
    case sortByLabelDesc = "sort_by_label_desc"
    case stddevOverTime = "stddev_over_time"
    case stdvarOverTime = "stdvar_over_time"
    case sumOverTime = "sum_over_time"
    case tsOfFirstOverTime = "ts_of_first_over_time"
    case tsOfLastOverTime = "ts_of_last_over_time"
    case tsOfMaxOverTime = "ts_of_max_over_time"
    case tsOfMinOverTime = "ts_of_min_over_time"

    package struct Signature: Sendable {
        package let arguments: [ValueType]
        /// How many of the last argument may be given beyond one less than listed: 0 exactly as listed, -1 any number.
        package let variadic: Int
        package let result: ValueType
        /// One line for completion and the reference.
        package let summary: String
    }

    /// Functions that Prometheus has behind a feature switch.
    package var isExperimental: Bool {
        switch self {
        case .doubleExponentialSmoothing, .firstOverTime, .info, .madOverTime, .sortByLabel, .sortByLabelDesc,
            .tsOfFirstOverTime,
            .tsOfLastOverTime, .tsOfMaxOverTime, .tsOfMinOverTime:
            true
        default: false
        }
    }

    /// The result may change with the time of evaluation although the arguments do not.
    var dependsOnTime: Bool {
        switch self {
        case .daysInMonth, .dayOfMonth, .dayOfWeek, .dayOfYear, .hour, .minute, .month, .year, .predictLinear, .time,
            .timestamp:
            true
        default: false
        }
    }

    package var signature: Signature {
        Self.signatures[self] ?? Signature(arguments: [], variadic: 0, result: .vector, summary: "")
    }

    private static let signatures: [Function: Signature] = {
        var table: [Function: Signature] = [:]
        func add(_ function: Function, _ arguments: [ValueType], _ result: ValueType, _ more: Int, _ summary: String) {
            table[function] = Signature(arguments: arguments, variadic: more, result: result, summary: summary)
        }
        addMathematics(add)
        addRanges(add)
        addLabels(add)
        return table
    }()

    private typealias Adding = (Function, [ValueType], ValueType, Int, String) -> Void

    private static func addMathematics(_ add: Adding) {
        let simple: [(Function, String)] = [
            (.abs, "The value without its sign."), (.acos, "Arc cosine, in radians."),
            (.acosh, "Inverse hyperbolic cosine."),
            (.asin, "Arc sine, in radians."), (.asinh, "Inverse hyperbolic sine."), (.atan, "Arc tangent, in radians."),
            (.atanh, "Inverse hyperbolic tangent."), (.ceil, "The next integer upwards."), (.cos, "Cosine of radians."),
            (.cosh, "Hyperbolic cosine."), (.deg, "Radians as degrees."), (.exp, "e to the power of the value."),
            (.floor, "The next integer downwards."), (.ln, "Natural logarithm."), (.log10, "Logarithm to base 10."),
            (.log2, "Logarithm to base 2."), (.rad, "Degrees as radians."), (.sgn, "-1, 0 or 1 by the sign."),
            (.sin, "Sine of radians."), (.sinh, "Hyperbolic sine."), (.sqrt, "Square root."),
            (.tan, "Tangent of radians."),
            (.tanh, "Hyperbolic tangent."), (.absent, "1 when the vector is empty, else nothing."),
            (.histogramAvg, "Mean of a native histogram's observations."),
            (.histogramCount, "Number of a native histogram's observations."),
            (.histogramStddev, "Estimated standard deviation of a native histogram."),
            (.histogramStdvar, "Estimated variance of a native histogram."),
            (.histogramSum, "Sum of a native histogram's observations."),
            (.sort, "Series by ascending value (instant queries)."),
            (.sortDesc, "Series by descending value (instant queries)."),
            (.timestamp, "The time of each sample, in seconds since 1970."),
        ]
        for (function, summary) in simple { add(function, [.vector], .vector, 0, summary) }
        let dates: [(Function, String)] = [
            (.daysInMonth, "Number of days of the month (UTC), 28 to 31."),
            (.dayOfMonth, "Day of the month (UTC), 1 to 31."),
            (.dayOfWeek, "Day of the week (UTC), 0 is Sunday."), (.dayOfYear, "Day of the year (UTC), 1 to 366."),
            (.hour, "Hour of the day (UTC)."), (.minute, "Minute of the hour (UTC)."),
            (.month, "Month of the year (UTC), 1 to 12."),
            (.year, "Year (UTC)."),
        ]
        for (function, summary) in dates { add(function, [.vector], .vector, 1, summary) }
        add(.clamp, [.vector, .scalar, .scalar], .vector, 0, "Values kept between a lower and an upper end.")
        add(.clampMax, [.vector, .scalar], .vector, 0, "Values kept from rising above an end.")
        add(.clampMin, [.vector, .scalar], .vector, 0, "Values kept from falling below an end.")
        add(
            .round, [.vector, .scalar], .vector, 1, "The nearest multiple, of 1 unless another is given; halves go up.")
        add(.pi, [], .scalar, 0, "The number pi.")
        add(.time, [], .scalar, 0, "The time of evaluation, in seconds since 1970.")
        add(.scalar, [.vector], .scalar, 0, "The value of the only series, else NaN.")
        add(.vector, [.scalar], .vector, 0, "A scalar as a vector without labels.")
        add(.histogramFraction, [.scalar, .scalar, .vector], .vector, 0, "Share of observations between two values.")
        add(.histogramQuantile, [.scalar, .vector], .vector, 0, "Quantile (0 to 1) of classic or native histograms.")
    }

    private static func addRanges(_ add: Adding) {
        let simple: [(Function, String)] = [
            (.absentOverTime, "1 when no series has a sample in the range, else nothing."),
            (.avgOverTime, "Mean of the range's samples."), (.changes, "How often the value changed in the range."),
            (.countOverTime, "Number of samples in the range."),
            (.delta, "Difference between a gauge's ends of the range, extrapolated."),
            (.deriv, "Per-second slope of a gauge by linear regression."),
            (.idelta, "Difference of the last two samples."),
            (.increase, "How much a counter grew over the range, resets allowed for, extrapolated."),
            (.irate, "Per-second growth of a counter by its last two samples."),
            (.lastOverTime, "The range's last sample."),
            (.firstOverTime, "The range's first sample."),
            (.madOverTime, "Median absolute deviation of the range's samples."),
            (.maxOverTime, "Greatest of the range's samples."), (.minOverTime, "Smallest of the range's samples."),
            (.presentOverTime, "1 for each series with a sample in the range."),
            (.rate, "Per-second growth of a counter over the range, resets allowed for, extrapolated."),
            (.resets, "How often a counter was reset in the range."),
            (.stddevOverTime, "Standard deviation of the range's samples."),
            (.stdvarOverTime, "Variance of the range's samples."), (.sumOverTime, "Sum of the range's samples."),
            (.tsOfFirstOverTime, "Time of the range's first sample, in seconds."),
            (.tsOfLastOverTime, "Time of the range's last sample, in seconds."),
            (.tsOfMaxOverTime, "Time of the last greatest sample of the range, in seconds."),
            (.tsOfMinOverTime, "Time of the last smallest sample of the range, in seconds."),
        ]
        for (function, summary) in simple { add(function, [.matrix], .vector, 0, summary) }
        add(
            .doubleExponentialSmoothing, [.matrix, .scalar, .scalar], .vector, 0,
            "Smoothed value, by smoothing and trend factors (0 to 1).")
        add(
            .predictLinear, [.matrix, .scalar], .vector, 0,
            "A gauge's value so many seconds ahead, by linear regression.")
        add(.quantileOverTime, [.scalar, .matrix], .vector, 0, "Quantile (0 to 1) of the range's samples.")
    }

    private static func addLabels(_ add: Adding) {
        add(.info, [.vector, .vector], .vector, 1, "Series with the labels of their info series (target_info) added.")
        add(
            .labelJoin, [.vector, .string, .string, .string], .vector, -1,
            "Sets a label to other labels' values joined by a separator.")
        add(
            .labelReplace, [.vector, .string, .string, .string, .string], .vector, 0,
            "Sets a label from a pattern's captures of another.")
        add(.sortByLabel, [.vector, .string], .vector, -1, "Series by the natural order of labels (instant queries).")
        add(
            .sortByLabelDesc, [.vector, .string], .vector, -1,
            "Series by the reverse natural order of labels (instant queries).")
    }
}
