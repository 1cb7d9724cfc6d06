"""Which units matter in a plant: one line each with name, factor to the first unit, UNECE code (- where none), other spellings.

Codes and display names: UN/CEFACT Recommendation 20, as OPC UA Part 8 uses them for EngineeringUnits. Factors are exact
by definition (SI brochure, international yard and pound) unless the unit itself is a convention (mmHg, inH2O).
A factor may be a fraction, and `a+b` means: value * a + b. Spellings are as they are after `units._plain`.
"""

from __future__ import annotations

from collections.abc import Mapping

TABLE: Mapping[str, str] = {
    "pressure": """
        Pa 1 PAL N/m2
        hPa 100 A97
        kPa 1000 KPA kN/m2
        MPa 1000000 MPA N/mm2
        ubar 0.1 B85
        mbar 100 MBR mbara mbarabs
        bar 100000 BAR bara barabs
        psi 4.4482216152605/0.00064516 PS psia lbf/in2 lb/in2
        ksi 4448.2216152605/0.00064516 N20
        atm 101325 ATM
        at 98066.5 ATT
        kgf/cm2 98066.5 E42 kg/cm2
        Torr 101325/760 UA
        mmHg 133.322387415 HN
        inHg 3386.389 F79
        mmH2O 9.80665 HP mmWS
        cmH2O 98.0665 H78 cmWS
        mH2O 9806.65 N23 mWS
        inH2O 249.08891 F78 inWC""",
    "gauge pressure": """
        Pag 1 -
        mbarg 100 - mbargauge
        kPag 1000 -
        barg 100000 - bargauge barü
        MPag 1000000 -
        psig 4.4482216152605/0.00064516 -""",
    "temperature": """
        K 1 KEL degK kelvin
        degC 1+273.15 CEL C celsius degreeCelsius degreesCelsius
        degF 5/9+45967/180 FAH F fahrenheit degreeFahrenheit
        degR 5/9 A48""",
    "temperature rate": """
        K/s 1 F12 degC/s C/s
        K/min 1/60 F11 degC/min C/min
        K/h 1/3600 F10 degC/h C/h""",
    "volume flow": """
        m3/s 1 MQS
        m3/min 1/60 G53
        m3/h 1/3600 MQH cbm/h
        m3/d 1/86400 G52
        l/s 1/1000 G51 lps dm3/s
        l/min 1/60000 L2 lpm dm3/min liter/min litre/min
        l/h 1/3600000 E32 lph dm3/h
        l/d 1/86400000 LD
        ml/s 1/1000000 40 cm3/s cc/s
        ml/min 1/60000000 41 cm3/min cc/min
        ml/h 1/3600000000 G55 cm3/h
        gal/min 0.003785411784/60 G2 gpm GPM galUS/min usgpm
        gal/h 0.003785411784/3600 G50 gph galUS/h
        ft3/min 0.028316846592/60 2L cfm CFM
        ft3/h 0.028316846592/3600 2K
        bbl/d 0.158987294928/86400 B1 bpd""",
    "normal volume flow": """
        Nm3/h 1/3600 Q40
        Nm3/min 1/60 -
        Nm3/d 1/86400 Q39
        Nl/min 1/60000 - nlpm
        Nl/h 1/3600000 -""",
    "standard volume flow": """
        Sm3/h 1/3600 Q38
        Sm3/d 1/86400 Q37
        Sl/min 1/60000 - slpm SLM
        scfm 0.028316846592/60 - SCFM""",
    "mass flow": """
        kg/s 1 KGS
        kg/min 1/60 F31
        kg/h 1/3600 E93
        t/h 1/3.6 E18
        t/d 1/86.4 L71
        g/s 1/1000 F29
        g/min 1/60000 F28
        g/h 1/3600000 F27
        lb/min 0.45359237/60 K78
        lb/h 0.45359237/3600 4U""",
    "volume": """
        m3 1 MTQ cbm
        hl 0.1 HLT
        l 0.001 LTR liter litre dm3
        ml 0.000001 MLT cm3 cc
        mm3 0.000000001 MMQ
        gal 0.003785411784 GLL galUS
        ft3 0.028316846592 FTQ
        bbl 0.158987294928 BLL""",
    "normal volume": "Nm3 1 NM3",
    "standard volume": "Sm3 1 SM3",
    "mass": """
        kg 1 KGM
        g 0.001 GRM gram
        mg 0.000001 MGM
        ug 0.000000001 MC
        t 1000 TNE tonne
        lb 0.45359237 LBR lbs
        oz 0.028349523125 ONZ""",
    "length": """
        m 1 MTR
        km 1000 KMT
        dm 0.1 DMT
        cm 0.01 CMT
        mm 0.001 MMT
        um 0.000001 4H micron
        nm 0.000000001 C45
        in 0.0254 INH inch
        ft 0.3048 FOT
        yd 0.9144 YRD""",
    "area": """
        m2 1 MTK
        cm2 0.0001 CMK
        mm2 0.000001 MMK
        km2 1000000 KMK
        ha 10000 HAR
        in2 0.00064516 INK
        ft2 0.09290304 FTK""",
    "velocity": """
        m/s 1 MTS
        m/min 1/60 2X
        m/h 1/3600 M60
        cm/s 0.01 2M
        mm/s 0.001 C16
        mm/min 1/60000 H81
        mm/h 1/3600000 H67
        um/s 0.000001 -
        km/h 1/3.6 KMH
        in/s 0.0254 IU
        ft/s 0.3048 FS
        ft/min 0.3048/60 FR
        mph 0.44704 HM mile/h""",
    "acceleration": """
        m/s2 1 MSK m/s/s
        cm/s2 0.01 M39
        mm/s2 0.001 M41
        g 9.80665 K40 gn
        mg 0.00980665 -
        ft/s2 0.3048 A73""",
    "rotation": """
        r/s 1 RPS rps rev/s
        rpm 1/60 RPM r/min rev/min U/min 1/min min-1
        rad/s 0.15915494309189535 2A
        deg/s 1/360 E96""",
    "rotation rate": """
        rpm/s 1/60 -
        rad/s2 0.15915494309189535 2B""",
    "frequency": """
        Hz 1 HTZ 1/s s-1 cps
        mHz 0.001 -
        kHz 1000 KHZ
        MHz 1000000 MHZ
        GHz 1000000000 A86
        1/min 1/60 C94 min-1 cpm
        1/h 1/3600 H10""",
    "angle": """
        rad 1 C81
        mrad 0.001 C25
        deg 0.017453292519943295 DD degree
        rev 6.283185307179586 M44
        gon 0.015707963267948967 A91""",
    "time": """
        s 1 SEC sec
        ms 0.001 C26 msec
        us 0.000001 B98
        ns 0.000000001 C47
        min 60 MIN
        h 3600 HUR hr hour
        d 86400 DAY day
        wk 604800 WEE week""",
    "current": """
        A 1 AMP Amp amps
        mA 0.001 4K
        uA 0.000001 B84
        nA 0.000000001 C39
        kA 1000 B22""",
    "voltage": """
        V 1 VLT volt volts VDC VAC
        mV 0.001 2Z
        uV 0.000001 D82
        kV 1000 KVT""",
    "power": """
        W 1 WTT watt J/s
        mW 0.001 C31
        kW 1000 KWT kJ/s
        MW 1000000 MAW
        GW 1000000000 A90
        hp 745.69987158227022 BHP HP bhp
        CV 735.49875 A25 metrichp
        BTU/h 1055.05585262/3600 2I BtuIT/h""",
    "apparent power": """
        VA 1 D46
        kVA 1000 KVA
        MVA 1000000 MVA""",
    "reactive power": """
        var 1 D44 VAr
        kvar 1000 KVR kVAr
        Mvar 1000000 MAR MVAr""",
    "energy": """
        J 1 JOU Ws
        kJ 1000 KJO
        MJ 1000000 3B
        GJ 1000000000 GV
        Wh 3600 WHR
        kWh 3600000 KWH
        MWh 3600000000 MWH
        GWh 3600000000000 GWH
        kcal 4186.8 E14 kcalIT
        BTU 1055.05585262 BTU BtuIT""",
    "specific energy": """
        J/kg 1 J2
        kJ/kg 1000 B42
        MJ/kg 1000000 JK""",
    "heat flux": "W/m2 1 D54\nkW/m2 1000 -",
    "charge": "Ah 1 AMH\nmAh 0.001 E09\nC 1/3600 COU",
    "resistance": """
        ohm 1 OHM Ohm
        mohm 0.001 E45
        kohm 1000 B49
        Mohm 1000000 B75
        Gohm 1000000000 A87""",
    "capacitance": """
        F 1 FAR
        mF 0.001 C10
        uF 0.000001 4O
        nF 0.000000001 C41
        pF 0.000000000001 4T""",
    "inductance": """
        H 1 81
        mH 0.001 C14
        uH 0.000001 B90""",
    "conductance": """
        S 1 SIE
        mS 0.001 C27
        uS 0.000001 B99""",
    "conductivity": """
        S/m 1 D10
        mS/m 0.001 -
        uS/m 0.000001 G43
        S/cm 100 H43
        mS/cm 0.1 H61
        uS/cm 0.0001 G42""",
    "force": """
        N 1 NEW
        mN 0.001 C20
        kN 1000 B47
        MN 1000000 B73
        kgf 9.80665 B37 kp
        lbf 4.4482216152605 C78""",
    "torque": """
        Nm 1 NU
        mNm 0.001 D83
        Ncm 0.01 F88
        kNm 1000 B48
        lbfft 1.3558179483314004 M92 ftlb lbft
        lbfin 0.1129848290276167 F21 inlb""",
    "dynamic viscosity": """
        Pas 1 C65
        mPas 0.001 C24
        P 0.1 89
        cP 0.001 C7""",
    "kinematic viscosity": """
        m2/s 1 S4
        mm2/s 0.000001 C17
        St 0.0001 91
        cSt 0.000001 4C""",
    "density": """
        kg/m3 1 KMQ
        g/cm3 1000 23 g/ml
        kg/l 1000 B35 kg/dm3
        g/l 1 GL
        t/m3 1000 D41
        g/m3 0.001 A93
        mg/l 0.001 M1
        mg/m3 0.000001 GP
        ug/l 0.000001 H29
        ug/m3 0.000000001 GQ""",
    "amount concentration": """
        mol/l 1 C38
        mmol/l 0.001 M33
        mol/m3 0.001 C36""",
    "ratio": """
        1 1 C62 one
        % 0.01 P1 pct percent
        permil 0.001 NX
        ppm 0.000001 59 um/m
        ppb 0.000000001 61""",
    "relative humidity": "%RH 1 - %rH RH% %rF",
    "level": "dB 1 2N",
    "sound level": "dBA 1 -",
    "acidity": "pH 1 Q30",
    "turbidity": "NTU 1 - FNU",
    "flux density": "T 1 D33\nmT 0.001 C29\nuT 0.000001 D81",
    "illuminance": "lx 1 LUX lux\nklx 1000 KLX",
    "count": "pcs 1 H87 pc pieces parts",
    "throughput": "pcs/s 1 - parts/s\npcs/min 1/60 - parts/min ppmin\npcs/h 1/3600 - parts/h",
}
