import Wire

// Two modules have words of these names; here those of the wire get names of their own.
typealias WireExemplar = Exemplar
typealias WireMetadata = MetricMetadata
